"""What sipalg costs, measured: the corpus, the engine alone, and the closed loop through a router namespace."""
