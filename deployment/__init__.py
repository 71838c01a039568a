"""What a gateway is, in plain data. Used by every other package; imports none of them."""
