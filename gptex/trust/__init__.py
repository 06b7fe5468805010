"""Is a dataset what its labels say? Statistics of pixels against theory, whoever drew them."""

from gptex.trust.certificate import Certificate, Check, ClassReport
from gptex.trust.examine import certify
from gptex.trust.oracle import Oracle, noise_for, oracle

__all__ = ["Certificate", "Check", "ClassReport", "Oracle", "certify", "noise_for", "oracle"]
