"""Parts of the intervene verb: effects, what is edited, and on which honest problems."""
