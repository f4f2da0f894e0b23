"""What stands around a training: its run folder, evaluation, reports, progress and logs."""
