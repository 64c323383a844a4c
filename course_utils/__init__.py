"""Helpers of the course *Generative Models: From Pretraining to Practice*.

Importing this package is cheap: TensorFlow and matplotlib are imported by the modules that use them.
"""

from course_utils.runtime import setup

__all__ = ["setup"]
__version__ = "0.1.0"
