"""What the WooCommerce channel is made of: the server behind it and its shapes."""
