"""Questions and their answers: parse, plan, choose tables, build SQL, run, shape."""
