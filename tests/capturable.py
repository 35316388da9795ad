"""What a step of training may do, if a GPU is to capture it."""

from torch.utils._python_dispatch import TorchDispatchMode

from nearorbit.dynamics import kernels
from nearorbit.training import discrepancies


class Capturable(TorchDispatchMode):
    """Refuse what a CUDA graph cannot hold: values for the host, shapes that depend on them, new constants.

    As on a GPU, there are no kernels.
    """

    def __enter__(self):
        self._kept = kernels.library, discrepancies._by_source
        kernels.library, discrepancies._by_source = lambda: None, lambda _: None
        return super().__enter__()

    def __exit__(self, *error):
        kernels.library, discrepancies._by_source = self._kept
        return super().__exit__(*error)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "equal"}, operation
        return operation(*args, **(kwargs or {}))
