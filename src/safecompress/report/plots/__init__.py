"""Pictures of a run, drawn as inline SVG from figures that were measured elsewhere."""
