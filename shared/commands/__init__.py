"""Commands of `stagebloom` that fill a file of their own; `shared.cli` registers them."""
