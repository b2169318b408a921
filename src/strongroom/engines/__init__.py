"""Secret engines: each serves the paths below its mounts and keeps its data in the View it is given."""
