"""Train and measure on a cluster: nothing of the size of users, items or rows reaches the driver."""
