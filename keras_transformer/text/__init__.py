"""Text in and out of the model: tokenizer, corpus readers, cleaning, segmentation. Knows no Keras."""
