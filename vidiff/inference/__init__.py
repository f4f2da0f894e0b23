"""What a trained model is used for: loading it, making clips, translating videos, comparing folders."""
