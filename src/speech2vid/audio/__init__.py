"""Audio as the networks hear it: MFCC and log-mel rows, one window per video frame, and when somebody speaks."""
