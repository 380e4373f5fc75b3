"""The compiled core: leaf functions over bytes, built from ext/*.pyx. Each has a plain-Python twin in tests/oracles."""
