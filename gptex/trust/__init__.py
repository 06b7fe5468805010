"""Is a dataset what its labels say? Statistics of pixels against theory, whoever drew them."""

from gptex.trust.certificate import Certificate, ClassReport, Test
from gptex.trust.examine import certify

__all__ = ["Certificate", "ClassReport", "Test", "certify"]
