"""`steps_of_set`: what to do where files fail together and not alone."""

from __future__ import annotations

from safecompress.checks import Status
from safecompress.verdicts.joint_finding import JointFinding
from safecompress.verdicts.sentence import listed


def steps_of_set(finding: JointFinding) -> tuple[str, ...]:
    """Return the step that publishes fewer files; none where it would not help.

    Args:
        finding: the results of all scopes.
    """
    failed = [s for s in finding.scopes if finding.status_of[s.name] is Status.FAIL]
    alone = [scope.name for scope in failed if scope.alone]
    together = [scope.name for scope in failed if not scope.alone]
    if not failed:
        return ()
    if not alone:
        return (
            f"Publish fewer of these files: none fails alone, and together {listed(together)} "
            f"{'does' if len(together) == 1 else 'do'}.",
        )
    if len(alone) < len(finding.singles):
        return (f"Publish the set without {listed(alone)}, and judge the others again.",)
    return ()
