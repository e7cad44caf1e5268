"""Raw images become a dataset: sources, two restartable steps, decisions, report, verification."""
