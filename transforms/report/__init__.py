"""The HTML report: its page, its charts, and the sections that all reports share."""
