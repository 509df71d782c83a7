"""The HTTP edge: takes tasks in, writes them to the store, tells what became of them. It loads no LLM library."""
