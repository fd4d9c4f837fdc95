"""The paper's networks as torch modules: one network a file, joined by small ones. Needs the ``train`` extra."""
