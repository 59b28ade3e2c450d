"""What a transient cluster is: its shape, its price, and the code it runs."""
