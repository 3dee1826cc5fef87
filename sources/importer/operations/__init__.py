"""The operations of a mapping, a file per kind. A head begins a value, a step changes the value before it. Pure."""
