"""Model families beyond inverse variance with an intercept."""
