"""vidiff: train, measure, compare and use adversarial video models."""

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def __getattr__(name):
    # Lazy, so that `import vidiff` stays free of torch.
    if name == "load_model":
        from vidiff.inference.checkpoint import load_model

        return load_model
    raise AttributeError(f"module 'vidiff' has no attribute {name!r}")
