"""Architecture only: blocks, generators and discriminators of clips."""
