"""Copy values from host memory to a device."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def on_device(values: np.ndarray[Any, Any] | Tensor, device: torch.device) -> Tensor:
    """Return the values as a tensor on the device; to CUDA the copy is asynchronous."""
    tensor = torch.as_tensor(values)
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()  # which torch keeps until it is copied
    return tensor.to(device, non_blocking=True)
