"""EFFECTS. One outside thing per file; each public function is one Prefect task that may run twice without harm."""
