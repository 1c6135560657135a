module closecall.example/peer

go 1.19
