"""Each file one subject of the HTTP interface: parse, call one function, return."""
