"""The op table: every primitive with its gradient rules, one file per family."""
