"""What all trainings share: the base of the tasks, and stages of a training."""
