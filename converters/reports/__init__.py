"""Everything that renders results: terminal, HTML, JUnit, model cards."""
