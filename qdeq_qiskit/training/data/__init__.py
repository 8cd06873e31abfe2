"""The images that models are trained on: sets that are bundled, published or the user's, and how they are split."""
