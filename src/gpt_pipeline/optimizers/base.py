"""What every optimizer's config has."""

from typing import ClassVar

from gpt_pipeline.section import Positive, Section


class OptimizerSection(Section):
    """The keys that all optimizers share; learning rate and weight decay are in `model`.

    A subclass has the tag `name: Literal["..."]`, its own keys, and the defaults of all of them in
    conf/optimizer/<name>.yaml.
    """

    supports_float16: ClassVar[bool] = True
    """Whether its update is finite for gradients that were scaled for float16."""

    name: str
    """optimizer"""
    grad_clip: Positive
    """maximum norm of the gradient; a larger gradient is scaled down to it"""
