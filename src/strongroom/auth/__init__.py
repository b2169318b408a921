"""Auth methods: each turns a proof of identity into an ``Auth``. Independent of each other, like engines."""
