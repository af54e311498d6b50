"""Makes data: small copies of videos, lists, miniatures."""
