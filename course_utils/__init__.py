"""Helpers of the course *Generative Models: From Pretraining to Practice*.

Importing it is cheap: the modules that use TensorFlow or matplotlib import them themselves.
"""

from course_utils.runtime import setup

__all__ = ["setup"]
__version__ = "0.1.0"
