module interlock.sandbox/pause

go 1.26.0
