"""RouterOS's commands: grammar, menus, printed tables, console and scripts, on top of the control protocol."""
