"""PyTorch's own files: zip files since PyTorch 1.6, the formats before, TorchScript, and checkpoints in parts."""

from converters.formats.format import Format, Wrapper

_WRAPPERS = {
    ".pyth": Wrapper("model_state", {}),
    ".ckpt": Wrapper("state_dict", {"pytorch-lightning_version": "2.5.0"}),
}
"""What the files of PySlowFast (``slowfast/utils/checkpoint.py``) and of Lightning have around the state dict. Of the
entries beside it, PySlowFast's ``epoch`` is left out, since it makes the project look for an optimizer's state.
Lightning's version is there, since ``load_from_checkpoint`` reads it: 2.5 stores a state dict as it is here, so nothing
is migrated (``lightning/pytorch/utilities/migration``)."""

FORMATS = (
    Format(
        name="pth",
        title="a PyTorch file (.pth)",
        suffixes=(".pth", ".pt", ".pth.tar", *_WRAPPERS),
        other_suffixes=(".tar",),
        layout_formats=("pytorch",),
        kinds=("zip", "torch-legacy", "tar", "text"),
        opener="converters.formats.pytorch.opener.open_pytorch",
        writer="converters.formats.pytorch.writer.write",
        confirmer="converters.formats.pytorch.confirmer.confirm",
        has_entries=True,
        wrappers=_WRAPPERS,
    ),
)
