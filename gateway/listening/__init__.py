"""Episodes and podcasts as live streams of Opus in WebM, over WebSockets; podcasts also while they are being made."""
