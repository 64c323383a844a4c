"""Helpers of the course *Generative Models: From Pretraining to Practice*."""

from course_utils.runtime import setup

__all__ = ["setup"]
__version__ = "0.1.0"
