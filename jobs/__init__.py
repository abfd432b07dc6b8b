"""What runs by itself: the job list, the job runner, the daemon."""
