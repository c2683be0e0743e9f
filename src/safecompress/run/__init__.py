"""Run folders: what a run writes, resumes from and is loaded from."""
