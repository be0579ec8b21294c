"""What needs a kernel that this machine may not have: it runs in a throw-away virtual machine."""
