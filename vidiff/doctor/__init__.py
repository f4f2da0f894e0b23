"""What is wrong with a training run, in words, with the numbers that say so and what to try."""

from vidiff.doctor.examine import Diagnosis, diagnose, examine
from vidiff.doctor.finding import Finding

__all__ = ["Diagnosis", "Finding", "diagnose", "examine"]
