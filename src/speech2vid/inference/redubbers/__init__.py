"""Re-dubbing methods: each fits a generated mouth into a filmed face, one method a file."""
