module closecall/atlas/own

go 1.19
