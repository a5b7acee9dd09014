"""The service for a team: one ASGI application with login, roles, the API, the corpus site and Dagster's UI."""
