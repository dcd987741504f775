"""What runs behind the walls: the zygote, what it forks, and the walls themselves. Standard library only."""
