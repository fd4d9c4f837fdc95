"""Generation methods: each turns an identity and audio into a talking face, one method a file."""
