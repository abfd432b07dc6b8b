"""The outside world: channels, couriers, statements, notifiers. See CONTRIBUTING.md."""
